"""The ground floor: cells, parameters, modules, initialisation events and transforms.

See `README.md` beside this file for what it guarantees.
"""
