// Package torchfile finds the tensors of a state dict in a file that torch.save
// wrote (.pt, .pth, .bin), without running any of it.
//
// Such a file is a zip archive whose data.pkl is a pickle: a program for a stack
// machine that names Python functions and calls them, so that reading one as
// Python does runs what its author likes. Here the machine knows the few
// instructions that state dicts consist of, and a call builds a description of a
// tensor or of a dictionary and nothing else. A name that state dicts have no use
// for is an error that says it. torch.load(weights_only=True) draws the same line.
//
// The tensors' bytes lie in the archive as they are, one entry a storage. They are
// handed out as a safetensors.Checkpoint, which references them in place.
//
// Files come from strangers: the pickle's size, the number of its instructions and
// objects, and the tensors that are reached from its end are bounded, and each
// tensor is checked against its storage and each storage against the file.
//
// Read are files of torch from 1.6 on with pickle protocol 2, which torch.save
// writes unless told otherwise, little-endian, of contiguous tensors in the types
// that safetensors has. The format is that of torch/serialization.py; the
// instructions are those of Python's pickletools.
package torchfile
