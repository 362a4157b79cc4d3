"""Layers of one framework carried into a model of another: other names, other axis orders.

The same layer lies differently in PyTorch, Keras and Flax.  A live model says its layers' kinds; a
source says whose convention it follows, or its names tell; names, after the user's rules, stand in
the model's scopes.  Then every variable is made of the source's tensors by a recipe:

    plain, recurrent, attention     what the leaves of each kind are and how they correspond
    convention                      whose names and orders a source has
    carrying                        what becomes of a source's names in a model
"""

from .carrying import carried

__all__ = ["carried"]
