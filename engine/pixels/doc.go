// Package pixels turns image files and tensors into RGB pictures, resizes them
// and cuts them into a vision tower's patches.
package pixels
