"""The sessions on modules and on trees keep the contract, with each kind of optimizer state."""

import jax
import optax
import pytest
from flax import nnx

import warmstart as ws
from warmstart.testing import SessionContract


class OfModel(SessionContract):
    """A JaxModel's session, and its steps."""

    @pytest.fixture(autouse=True)
    def take_models(self, models):
        self.models = models

    transformation = staticmethod(lambda: optax.adamw(0.01, weight_decay=0.1))

    def model(self):
        raise NotImplementedError

    def make(self):
        model = self.model()

        def train(steps):
            for _ in range(steps):
                model.train_step(self.models.INPUTS)

        return model.session, train


class TestNNX(OfModel):
    def model(self):
        module = self.models.Net(nnx.Rngs(0))
        return ws.JaxModel(module, loss=self.models.nnx_loss, optimizer=self.transformation())


class TestEquinox(OfModel):
    def model(self):
        loss = self.models.equinox_loss
        return ws.JaxModel(self.models.equinox_model(), loss=loss, optimizer=self.transformation())


class TestMomentum(TestEquinox):
    transformation = staticmethod(
        lambda: optax.chain(optax.add_decayed_weights(0.01), optax.sgd(0.05, momentum=0.9))
    )


class TestAdafactor(TestEquinox):
    transformation = staticmethod(lambda: optax.adafactor(0.01, min_dim_size_to_factor=2))


class TestHaiku(OfModel):
    def model(self):
        loss = self.models.haiku_loss
        return ws.JaxModel(
            self.models.haiku_variables(), loss=loss, optimizer=self.transformation()
        )


class TestLinen(OfModel):
    def model(self):
        def loss(variables, batch):  # without a key of its own, which the model keeps
            return self.models.linen_loss(variables, batch, jax.random.key(3))

        return ws.JaxModel(
            self.models.linen_variables(), loss=loss, optimizer=self.transformation()
        )


def step(module, optimizer, batch):
    """Take one step, as a user's own loop does."""
    gradients = nnx.grad(lambda module: (module(batch) ** 2).mean())(module)
    optimizer.update(module, gradients)


class TestOwnLoopOfNNX(SessionContract):
    """A module and its optimizer in a loop of the user's, jitted, with their memory donated."""

    step = staticmethod(nnx.jit(step, donate_argnums=(0, 1)))

    @pytest.fixture(autouse=True)
    def take_models(self, models):
        self.models = models

    def make(self):
        module = self.models.Net(nnx.Rngs(0))
        optimizer = nnx.Optimizer(module, optax.adamw(0.01, weight_decay=0.1), wrt=nnx.Param)

        def train(steps):
            for _ in range(steps):
                self.step(module, optimizer, self.models.INPUTS)

        return ws.session_for(module, optimizer=optimizer), train
