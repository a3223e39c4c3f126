"""Where a model that predicts computes."""

import pytest
import tensorflow as tf

from albert.errors import UserError
from albert.serving.forward import device_name


@pytest.mark.parametrize("there", [[], [tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")]])
def test_a_gpu_that_is_not_there_or_hidden_is_refused_with_a_way_out(monkeypatch, there):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: there)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])
    assert device_name("auto") == "/cpu:0"
    with pytest.raises(
        UserError, match=r"^`device`=gpu, but TensorFlow finds no GPU: use `device`=cpu, or see whether"
    ):
        device_name("gpu")
