"""A small LLaVA from nothing: towers, projector, language model and tokenizers, learned on moving shapes.

layout    its architecture and its files, as published checkpoints have them
data      batches: single pictures with exact descriptions, cached key images with captions and questions
conversations  what is said about videos, captions and skeletons: prompts, and the replies that are true
frames    stage 1: vision and text tower, contrastively, on single pictures
clips     stage 2: the text tower learns events, on cached features
language  stage 3: projector and language model, by captions and answers
faces     towers that have seen drawn people (`face_run` trains them); face_encoder: who tells those people apart;
          faces_model: both and CLIP-PAD in one folder
run       the stages in order, each a run of the train room
bundle    what they made, as the model that the package carries
on_towers  a model that was trained on the bundled towers, as another one that the package carries
"""
