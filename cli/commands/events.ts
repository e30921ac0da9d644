// `cluster events`: what happened, told so that a person understands it.
import { join, resolve } from 'node:path'
import { boolean, integer, string } from '../../shared/config/fields.ts'
import { interval } from '../../shared/time/clock.ts'
import type { Event } from '../../proto/gen/orch.ts'
import { RefusedError } from '../errors.ts'
import type { Collected, EventScope } from '../events/collect.ts'
import { EventLines } from '../events/lines.ts'
import { EventMerger, mergeEvents, type MergedEvent } from '../events/merge.ts'
import { readCommandFlags } from '../flags.ts'
import { commandHelp } from '../help.ts'
import { clusterPaths, readMarker } from '../local/cluster-dir.ts'
import { findState, isSupervised, readState, type ClusterState } from '../local/state.ts'
import { DIR_FIELD } from '../local/start-options.ts'
import { listenForEnd } from '../signals.ts'
import type { Command } from '../main.ts'

const LAST_MAX = 100_000
const RUNS_EVERY_MS = 1000

const FIELDS = {
  dir: DIR_FIELD,
  follow: boolean({ default: false, help: 'Go on with what happens, until Ctrl-C.' }),
  last: integer({
    default: 100,
    min: 0,
    max: LAST_MAX,
    help: 'So many of those that were kept.',
  }),
  database: string({ optional: true, help: 'Only of this topology database.' }),
  shard: string({ optional: true, help: 'Only of this shard.' }),
  json: boolean({
    default: false,
    help: 'One JSON object {"events": [...]}; with --follow one object a line and event.',
  }),
}

/** `multigres cluster events`. */
export const command: Command = {
  help: () =>
    commandHelp({
      name: 'cluster events',
      about:
        'Tells what happened: what was found wrong, who decided what about it and why, each step ' +
        'of an appointment, switchover or copy, and how long each took. Every orchestrator keeps ' +
        'its part in a file of its own (the last one or two MB); this shows them as one story, ' +
        'also while an orchestrator is dead or nothing runs.\n' +
        'A line: time, orchestrator (+N: so many others saw it, too), what, [how long it took].',
      fields: FIELDS,
      examples: [
        ['multigres cluster events', 'the last hundred'],
        ['multigres cluster events --follow', 'and what happens from now on'],
        ['multigres cluster events --json | jq -r ".events[].text"', 'for a script'],
      ],
    }),
  async run(argv) {
    const { values } = readCommandFlags(FIELDS, argv)
    const dir = resolve(values.dir)
    if (readMarker(dir) === undefined) throw new RefusedError(`${dir}: there is no cluster`)
    const state = await findState(clusterPaths(dir))
    const scope = { database: values.database ?? '', shard: values.shard ?? '' }
    const printer = new Printer(values)
    if (!values.follow) return await showKept(dir, state, { scope, printer })
    if (!isSupervised(state)) throw new RefusedError(`${dir}: not running; nothing will happen`)
    return await follow(dir, state, { scope, printer })
  },
}

type View = { readonly scope: EventScope; readonly printer: Printer }

async function showKept(
  dir: string,
  state: ClusterState | undefined,
  { scope, printer }: View,
): Promise<number> {
  // gRPC takes 100 ms to load.
  const { Orchestrators, tokenOf } = await import('../local/orchestrators.ts')
  const { collectEvents } = await import('../events/collect.ts')
  using orchs = isSupervised(state) ? new Orchestrators(state, tokenOf(dir)) : undefined
  const found = await collectEvents(clusterPaths(dir), orchs?.clients ?? new Map(), scope)
  for (const [id, why] of found.silent) {
    note(`${id} ${why}: its events are from ${join(clusterPaths(dir).cache, id)}`)
  }
  printer.all(found)
  return 0
}

async function follow(dir: string, state: ClusterState, { scope, printer }: View): Promise<number> {
  const { Orchestrators, tokenOf } = await import('../local/orchestrators.ts')
  const { followEvents } = await import('../events/follow.ts')
  using orchs = new Orchestrators(state, tokenOf(dir))
  const ended = new AbortController()
  const { stop } = listenForEnd()
  const paths = clusterPaths(dir)
  using _ = interval(RUNS_EVERY_MS, () => {
    if (isSupervised(readState(paths.state))) return
    note(`${dir} does not run any more`)
    ended.abort()
  })
  const signal = AbortSignal.any([stop, ended.signal])
  await followEvents(orchs.clients, scope, { listener: { ...printer.listener, note }, signal })
  return 0
}

const note = (text: string): void => void process.stderr.write(`multigres: ${text}\n`)

/** Prints events as they were asked for. */
class Printer {
  readonly #options: { readonly json: boolean; readonly last: number }
  readonly #lines = new EventLines()
  readonly #merger = new EventMerger()

  constructor(options: { json: boolean; last: number }) {
    this.#options = options
  }

  /** All of a moment that is over. */
  all({ events, silent }: Collected): void {
    const merged = lastOf(mergeEvents(events), this.#options.last)
    if (!this.#options.json) return this.#print(merged.flatMap((event) => this.#lines.of(event)))
    this.#print([JSON.stringify({ events: merged, silent: [...silent.keys()] })])
  }

  /** For `followEvents`. */
  get listener() {
    return {
      begin: (events: readonly Event[]): void => {
        const sorted = events.toSorted((a, b) => Number(a.atUnixMs - b.atUnixMs))
        const merged = sorted.flatMap((event) => this.#merger.offer(event) ?? [])
        const seen = merged.map((event) => ({ ...event, seen_by: this.#merger.seenBy(event) }))
        this.#each(lastOf(seen, this.#options.last))
      },
      event: (event: Event): void =>
        this.#each([this.#merger.offer(event)].flatMap((e) => e ?? [])),
    }
  }

  #each(events: readonly MergedEvent[]): void {
    const { json } = this.#options
    this.#print(events.flatMap((event) => (json ? [JSON.stringify(event)] : this.#lines.of(event))))
  }

  #print(lines: readonly string[]): void {
    if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`)
  }
}

const lastOf = <T>(items: readonly T[], count: number): T[] =>
  count === 0 ? [] : items.slice(-count)
