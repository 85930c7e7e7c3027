"""The ASTR model (CVPR 2023): one frozen config, two presets, and the stages from grey images to matches."""
