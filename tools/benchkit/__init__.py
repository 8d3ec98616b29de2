"""What tools/bench is made of: see README.md beside this file."""
