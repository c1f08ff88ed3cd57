import sys

from framepair.nodes.launcher.main import main

sys.exit(main())
