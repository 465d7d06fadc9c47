// Package hosting holds what commands that run evaluators share: the flags that
// choose them, loading them with the decoders of latents, and a server in front
// of them.
package hosting
