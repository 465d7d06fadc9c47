// Package clip runs CLIP checkpoints and the image rewards that are built on them.
//
// A checkpoint is a folder as Hugging Face has it: config.json, safetensors,
// tokenizer.json and preprocessor_config.json; or open_clip's tensors, in
// safetensors or in a torch file, as HPSv2 is published. A [Model] turns texts and
// images into embeddings in one space; a [Scorer] is an evaluator on top of them.
//
// # Scores
//
// cos is the cosine of the image's and the prompt's embedding, s the checkpoint's
// exp(logit_scale).
//
//   - PickScore (arXiv 2305.01569): s*cos/26, as flow_grpo's pickscore_scorer.py.
//   - CLIPScore: s*cos/30, as flow_grpo's clip_scorer.py.
//   - HPSv2 (arXiv 2306.09341): cos, as HPSv2's img_score.py.
//   - Aesthetic: LAION's stack of linear layers over the normalised embedding of
//     the image, about 1 to 10, as flow_grpo's aesthetic_scorer.py.
//
// Checkpoints with open_clip's names have texts cleaned as its tokenizer does, by
// ftfy and with HTML's entities decoded; those with transformers' names do not.
//
// The first three are cosines and may be negative. A prompt longer than the text
// tower's positions is cut, as all of these do.
//
// # Images
//
// Images are resized with Pillow's bicubic filter, bit for bit: the short side to
// the tower's size and the middle cut out, or, for HPSv2, the long side, with black
// around it. The published processors that run on torchvision differ from Pillow by
// one level in some values.
package clip
