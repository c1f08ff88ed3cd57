from framepair.nodes.recordings.main import main

main()
