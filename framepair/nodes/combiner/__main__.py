from framepair.nodes.combiner.main import main

main()
