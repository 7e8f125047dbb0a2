"""Trained models that predict how one microscope would have shown what another one saw, as files and at work.

A model is a folder. `predict.model` reads it and applies it to planes, `predict.kinds` names the kinds that there are,
and `predict.appearance` lets a registration compare a prediction with the other image. Nothing here trains.
"""
