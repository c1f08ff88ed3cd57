from framepair.nodes.sink.main import main

main()
