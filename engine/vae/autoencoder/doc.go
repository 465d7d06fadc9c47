// Package autoencoder reads the autoencoders that diffusers saves, a file for each
// class, and writes their decoders as ONNX graphs whose weights stay where they
// lie. Open finds one in its folder, in that of a pipeline or in a single file;
// Model.Graph writes it whole or in the two parts that images in tiles need.
package autoencoder
