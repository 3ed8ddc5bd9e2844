"""Several hosts on one machine, and everything a pull needs: registries, runtimes, agents.

A Rig owns them. Each host is a network, mount and host-name namespace of its own, with its own
/etc, /run, /var/lib/containerd and /var/lib/shoal, so that programs run with their default paths.
Everything ends with the Rig: processes by their id, then namespaces, then files.
"""
