// Package groups is the barrier at which the members of a group meet that come
// with several requests, as those of many training ranks do. Each request waits
// at the [Barrier] until its groups are complete and takes its samples' shares:
// advantages over the whole group.
//
// A request's samples of one group are a participant. Members that are numbered
// have places of their own: a repeated request takes the places of its first
// try, and a missing member is named. Members are taken in the order of their
// groups' names and their numbers, so that sums do not depend on who came first.
// What fails, times out or leaves gives its places back.
package groups
