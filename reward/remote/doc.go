// Package remote has evaluators that live elsewhere: a vision-language model behind an
// OpenAI-compatible endpoint (vLLM, SGLang) that is asked by a judge file, another
// DenseReward server, and an image model behind the Open Inference Protocol (KServe v2,
// Triton). So rewards that are Python programs run where they live.
//
// What goes wrong is the error of the sample it went wrong for and never a score. A
// request that met a full or broken server is sent again after a growing pause, or after
// the one that Retry-After asks for, as often as Options say; after several failures in a row the endpoint is left alone for
// a while, and samples fail at once. What no repetition betters fails at once: a wrong
// scheme, a certificate that is not trusted, a redirection, which is not followed since it
// would carry images and token elsewhere. Proxies of the environment are used. A context
// that ends ends everything.
package remote
