from framepair.nodes.recorder.main import main

main()
