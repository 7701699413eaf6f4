"""What the commands of kit.py do, a module a command, inside the environment that kit.py has made."""
