"""The comparison of transfer tools over the lab's links; see README.md."""
