"""Drop-ins for trainers. Each module belongs to one trainer and says there what it
replaces; none of them is imported by the package itself."""
