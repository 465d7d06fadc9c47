"""Drawn scenes with captions whose faults are known: training and test data for a small ImageDoctor.

A sample is made in three steps. `scene.draw_scene` says what an image shows:
objects, background, flaws. `caption.write_captions` writes captions for it, some
of which claim what is not so. `truth.judge` compares the two and gives scores,
heat and the texts of answer and thought. `render.render` turns arrays of scenes
into pixels and heatmaps. Only `render` needs torch.

Coordinates are fractions of the image's side, x to the right and y down.
"""
