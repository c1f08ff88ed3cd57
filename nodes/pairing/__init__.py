"""What `nodes.window` is made of: pure logic, without sockets, threads or a clock."""
