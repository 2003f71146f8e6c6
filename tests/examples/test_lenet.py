"""LeNet reads the digits."""

from examples.lenet import main


def test_lenet_reads_at_least_97_of_100_test_scans():
    assert main(echo=lambda text: None) >= 0.97
