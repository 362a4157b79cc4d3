"""The sessions keep the contract of sessions."""

import numpy as np
import sklearn_mlp
from sklearn.neural_network import MLPRegressor

from warmstart.testing import SessionContract


class TestMLP(SessionContract):
    def make(self):
        random = np.random.default_rng(0)
        x, y = random.normal(size=(32, 4)), random.normal(size=32)
        model = MLPRegressor(hidden_layer_sizes=(5,), random_state=0)

        def train(steps):
            for _ in range(steps):
                model.partial_fit(x, y)

        train(1)
        return sklearn_mlp.session_for(model), train
