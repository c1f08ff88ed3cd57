from framepair.nodes.monitor.main import main

main()
