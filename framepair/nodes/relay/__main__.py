from framepair.nodes.relay.main import main

main()
