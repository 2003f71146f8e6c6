"""LeNet learns to read handwritten digits.

A small convolutional network of the shape of LeNet-5 (LeCun et al. 1998, "Gradient-based learning
applied to document recognition", figure 2), with ReLU, max pooling and dropout in place of its
sigmoids and trained averages, and sized for the 1,797 scans of 8x8 pixels that come with
scikit-learn. Run

    python -m examples.lenet
"""

import functools

import jax
import numpy as np
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import ansatz as az
from ansatz import nn
from ansatz.train import accuracy, batches

EPOCHS, BATCH_SIZE, LEARNING_RATE = 25, 64, 3e-3

loss = functools.partial(nn.softmax_cross_entropy, label_smoothing=0.1)


def lenet(classes=10):
    """Nobody says how many channels or pixels come in: the first batch tells."""
    return nn.Sequential(
        nn.Conv2D(32, 3, padding="same", activation="relu"),
        nn.MaxPool2D(2),
        nn.Conv2D(64, 3, padding="same", activation="relu"),
        nn.MaxPool2D(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Dense(120, activation="relu"),
        nn.Dense(84, activation="relu"),
        nn.Dense(classes),
    )


def read_data():
    """Images of shape `(scans, 8, 8, 1)` from 0 to 1 and their digits, to train and to test on."""
    digits = load_digits()
    x = (digits.images[..., None] / 16).astype(np.float32)
    y = digits.target.astype(np.int32)
    return train_test_split(x, y, test_size=360, stratify=y, random_state=0)


def main(echo=print):
    """Train, and return the accuracy on the test scans."""
    az.seed(0)
    x_train, x_test, y_train, y_test = read_data()
    net = lenet()
    data = batches(x_train, y_train, BATCH_SIZE, seed=0, drop_last=True)
    net.settle_shapes(x_train[:1])
    echo(net.summary())
    schedule = optax.cosine_decay_schedule(LEARNING_RATE, EPOCHS * len(data))
    trainer = az.Trainer(net, optax.adamw(schedule, weight_decay=1e-2), loss)
    history = trainer.fit(data, epochs=EPOCHS)
    reached = float(accuracy(az.jit(net.eval())(jax.numpy.asarray(x_test)), y_test))
    echo(f"{history.seconds:.1f} seconds of training, test accuracy {reached:.4f}")
    return reached


if __name__ == "__main__":
    main()
