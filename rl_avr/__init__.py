"""Reinforcement-learning post-training of vision-language models on abstract visual reasoning."""

from rl_avr.torchvision_compat import install as _install_torchvision_hook

_install_torchvision_hook()
