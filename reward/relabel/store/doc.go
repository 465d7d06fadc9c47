// Package store holds shards and outputs: folders of this machine and buckets of
// S3-compatible stores.
package store
