from framepair.nodes.launcher.main import main

raise SystemExit(main())
