"""Deep Q-learning by hand: NumPy, float64, loops; nothing here uses torch or the package."""

import numpy as np
import numpy.typing as npt
from helpers import Array, convolve

CONVOLUTIONS = ((8, 4), (4, 2), (3, 1))  # size, stride


class NaiveDQN:
    """The Nature network with its training step, one transition after the other.

    Args:
        weights: ten arrays in the order of the network's layers, weight before bias.
    """

    def __init__(
        self,
        weights: list[Array],
        *,
        discount_rate: float,
        clip_error: float,
        double_q: bool = False,
        target_exploration_rate: float = 0.0,
        pixel_mean: float = 0.0,
    ) -> None:
        self.weights = [w.copy() for w in weights]
        self.target_weights = [w.copy() for w in weights]
        self.discount_rate = discount_rate
        self.clip_error = clip_error
        self.double_q = double_q
        self.target_exploration_rate = target_exploration_rate
        self.pixel_mean = pixel_mean
        self.errors: list[float] = []  # target minus value, of the last minibatch
        self.mean = [np.zeros_like(w) for w in weights]
        self.mean_square = [np.zeros_like(w) for w in weights]

    def values(self, state: npt.NDArray[np.uint8], weights: list[Array]) -> list[Array]:
        """All layers' outputs for one state, input first, Q-values last."""
        layers = [state / 255.0 - self.pixel_mean]
        for i, (_, stride) in enumerate(CONVOLUTIONS):
            layers.append(
                np.maximum(convolve(layers[-1], weights[2 * i], weights[2 * i + 1], stride), 0)
            )
        hidden = weights[6] @ layers[-1].reshape(-1) + weights[7]
        layers.append(np.maximum(hidden, 0))
        layers.append(weights[8] @ layers[-1] + weights[9])
        return layers

    def target(self, rewards, poststate, terminals) -> float:  # type: ignore[no-untyped-def]
        """Discounted rewards up to the end of the game, else up to the poststate's value."""
        target, discount = 0.0, 1.0
        for reward, terminal in zip(rewards, terminals, strict=True):
            target += discount * min(max(reward, -1.0), 1.0)
            discount *= self.discount_rate
            if terminal:
                return target
        values = self.values(poststate, self.target_weights)[-1]
        chooser = self.weights if self.double_q else self.target_weights
        best = np.argmax(self.values(poststate, chooser)[-1])
        expected = 0.0
        for action, value in enumerate(values):
            probability = self.target_exploration_rate / len(values)
            if action == best:
                probability += 1 - self.target_exploration_rate
            expected += probability * value
        return target + discount * expected

    def gradients(self, prestate, action, rewards, poststate, terminals):  # type: ignore[no-untyped-def]
        """Cost of one transition and its gradient for each weight array."""
        target = self.target(rewards, poststate, terminals)
        layers = self.values(prestate, self.weights)
        error = layers[-1][action] - target
        self.errors.append(-error)
        clip = self.clip_error
        if clip and abs(error) > clip:
            cost, slope = clip * (abs(error) - clip / 2), clip * np.sign(error)
        else:
            cost, slope = error * error / 2, error
        gradients = [np.zeros_like(w) for w in self.weights]
        delta = np.zeros_like(layers[-1])
        delta[action] = slope
        for i, layer in ((8, layers[4]), (6, layers[3].reshape(-1))):
            gradients[i] = np.outer(delta, layer)
            gradients[i + 1] = delta
            delta = (self.weights[i].T @ delta) * (layer > 0)
        delta = delta.reshape(layers[3].shape)
        for i in (2, 1, 0):
            size, stride = CONVOLUTIONS[i]
            kernel = self.weights[2 * i]
            below = np.zeros_like(layers[i])
            for y in range(delta.shape[1]):
                for x in range(delta.shape[2]):
                    rows = slice(y * stride, y * stride + size)
                    columns = slice(x * stride, x * stride + size)
                    patch = layers[i][:, rows, columns]
                    gradients[2 * i] += delta[:, y, x, None, None, None] * patch
                    below[:, rows, columns] += np.tensordot(delta[:, y, x], kernel, 1)
            gradients[2 * i + 1] = delta.sum((1, 2))
            delta = below * (layers[i] > 0)
        return cost, gradients

    def train(self, prestates, actions, rewards, poststates, terminals, weights=None) -> float:  # type: ignore[no-untyped-def]
        """One step of DeepMind's RMSProp on the summed gradient; the mean cost."""
        costs = []
        total = [np.zeros_like(w) for w in self.weights]
        self.errors = []
        for index, transition in enumerate(
            zip(prestates, actions, rewards, poststates, terminals, strict=True)
        ):
            cost, gradients = self.gradients(*transition)
            weight = 1.0 if weights is None else weights[index]
            costs.append(weight * cost)
            total = [t + weight * g for t, g in zip(total, gradients, strict=True)]
        for i, dw in enumerate(total):
            self.mean[i] = 0.95 * self.mean[i] + 0.05 * dw
            self.mean_square[i] = 0.95 * self.mean_square[i] + 0.05 * dw**2
            root = np.sqrt(self.mean_square[i] - self.mean[i] ** 2 + 0.01)
            self.weights[i] = self.weights[i] - 0.00025 * dw / root
        return float(np.mean(costs))
