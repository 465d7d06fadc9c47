// Package relabel scores data sets offline: every input shard (a Parquet file, a
// WebDataset tar, a JSONL or CSV file, a folder of images) becomes an output
// shard of the same kind and name whose samples carry labels: the reward, the
// scores, the text and boxes, why a sample failed, and maps.
//
// The package knows neither evaluators nor formats. A [Format] reads and writes
// shards, a [Store] holds them, and an [Evaluate] function labels a chunk of
// records; see the packages below this one, and reward/relabel/local.
//
// # Never twice, never lost
//
// A shard is cut into chunks of Config.ChunkSize records, always at the same
// places, and a chunk is evaluated as one batch: maps differ in their last bits
// between batch sizes. The labels of a chunk are appended to the shard's journal
// before they are written to the output, which is a temporary file until the
// last record: it then appears under its name at once, and a completion marker
// beside it. So
//
//	a run that was killed       repeats at most the chunks in flight and what
//	                            was not yet written out at a loss of power, a
//	                            second's work
//	a rerun                     skips marked shards, takes from journals what
//	                            they have, and gives the bytes that an
//	                            undisturbed run gives
//	another configuration       is refused with ErrOtherConfig, unless
//	                            Job.Overwrite is set
//	a sample that fails         is labelled with its error_code; its neighbours
//	                            and the run go on; Job.RetryFailed evaluates
//	                            such samples again
//	an unreadable shard         has no output and is listed in the Summary; the
//	                            others go on
//	an evaluator or server      ends the run with its error; what was labelled
//	that is lost, a full disk   is in the journals, and a rerun resumes there. A
//	                            server that comes back while its client still
//	                            tries costs nothing but the wait
//	a lost machine              whose output is a bucket takes its journals with
//	                            it: finished shards are whole in the bucket, the
//	                            others are labelled anew elsewhere. Job.State on
//	                            a volume that survives keeps them
//
// State lies in OUT/.densereward, which is hidden, so that loaders of data sets
// pass over it: config.json, manifest.json (the configuration and the sum of all
// shards), a marker for each finished shard in shards, and the journals. The
// journal of a shard with failures is kept for Job.RetryFailed.
//
// # Many machines
//
// [Share] deals the sorted list of shards out to N processes. They share the
// output and never a shard. The manifest is written by each at its end; the last
// one's counts them all.
package relabel
