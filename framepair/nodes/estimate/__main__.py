import sys

from framepair.nodes.estimate.main import main

sys.exit(main())
