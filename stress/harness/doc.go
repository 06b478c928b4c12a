// Package harness runs scenarios: arms that move messages in different ways,
// measured in alternating blocks of one run, and compared by ratios.
//
// Absolute times on a shared machine mean little; ratios of arms that take turns
// in one run mean something. So each arm is measured in many short blocks, in the
// order A B C, C B A, A B C, ..., each block in a process of its own. A round has
// one block of each arm and gives one ratio for each pair; their median is
// reported with a bootstrap interval of 95 %. A ratio a to b always says how many
// times better a is than b, whether more or less of the metric is better.
//
// A program calls Main with its scenarios and its peers, which are the main
// functions of producer processes. In a block, an arm starts its peers with
// StartPeer, counts in a Window and checks sequence numbers with a Check.
package harness
