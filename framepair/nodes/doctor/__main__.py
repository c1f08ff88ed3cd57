import sys

from framepair.nodes.doctor.main import main

sys.exit(main())
