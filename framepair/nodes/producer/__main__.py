from framepair.nodes.producer.main import main

main()
