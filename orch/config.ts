import { commonFields } from '../shared/config/common-fields.ts'
import { duration, integer, list, path } from '../shared/config/fields.ts'

const TARGET = /^[^/\s]+(\/[^/\s]+)?$/

/** Settings of an orchestrator. */
export const orchFields = {
  ...commonFields('orch', { httpPort: 15_300, grpcPort: 15_370 }),
  watch: list({
    default: 'postgres',
    help: 'What it looks after: DATABASE, or DATABASE/SHARD for one of its shards.',
    check: (targets) =>
      targets.every((target) => TARGET.test(target)) ? undefined : 'is not DATABASE[/SHARD],...',
  }),
  stateDir: path({
    optional: true,
    help: 'Folder for what it last knew of the poolers, read while the topology is away.',
  }),
  nice: integer({
    default: -10,
    min: -20,
    max: 19,
    help: 'Its priority, where the system allows it: -20 runs before all others, 19 after.',
  }),
  leaseMs: duration({
    default: '1s',
    min: '100ms',
    max: '60s',
    help: 'Lease length in the first rule of a shard that it bootstraps.',
  }),
  bootstrapSettleMs: duration({
    default: '2s',
    live: true,
    help: 'A new shard waits this long for further poolers after the last one registered.',
  }),
  bootstrapWaitMs: duration({
    default: '20s',
    live: true,
    help: 'A new shard begins without the poolers that do not stream by then, if enough do.',
  }),
  resumeWaitMs: duration({
    default: '1500ms',
    live: true,
    help: 'A new leader is sought without the members that do not answer by then, if enough do.',
  }),
  flapLimit: integer({
    default: 3,
    min: 0,
    live: true,
    help: 'Failovers, soon after each other, by one query or other cause; then none. 0: no limit.',
  }),
  flapSpanMs: duration({
    default: '2s',
    live: true,
    help: 'A leader that served for longer than this before it crashed begins a new count.',
  }),
  flapHoldMs: duration({
    default: '5min',
    live: true,
    help: 'After so long one more failover is tried. 0: only after cluster recovery resume.',
  }),
  leaderGoneMs: duration({
    default: '250ms',
    live: true,
    help: 'A leader that nobody hears of and that asks nobody for grants is given up after this.',
  }),
}
