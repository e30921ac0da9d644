// Goal: an operator sees what happens, understands what happened, and has a hand on it, while
// processes die and freeze; a query that kills every leader is stopped.
// Method: one cluster with two orchestrators, of which now one is frozen, now all are killed; each
// command is what scripts call, and its JSON is what they read.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import postgres from 'postgres'
import type { MergedEvent } from '../../cli/events/merge.ts'
import type { RecoveryView } from '../../cli/local/recovery-view.ts'
import { LockService } from '../../shared/locks/lock-service.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { connectTopology } from '../../shared/topology/topology.ts'
import {
  multigres,
  recordedProcesses,
  spawnMultigres,
  startCluster,
  type Cluster,
  type CommandResult,
} from '../support/cluster.ts'
import { pause } from '../support/pace.ts'
import { until } from '../support/until.ts'

const SLOW_MS = 120_000
/** What a command may take at most when somebody does not answer, on a busy machine. */
const ANSWER_MS = 15_000
/** Longer than a command waits for a first answer. */
const HANG_MS = 2500
const POISON = "COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'"

let cluster: Cluster
beforeAll(async () => {
  cluster = await startCluster({ orchs: 2 })
}, SLOW_MS)
afterAll(() => cluster?.[Symbol.asyncDispose](), SLOW_MS)

const run = (...args: string[]): Promise<CommandResult> =>
  multigres([...args, `--dir=${cluster.dir}`])

async function json<T>(...args: string[]): Promise<T> {
  const { exitCode, stdout, stderr } = await run(...args, '--json')
  if (exitCode !== 0) throw new Error(`${args.join(' ')} ended with ${exitCode}: ${stderr}`)
  return JSON.parse(stdout) as T
}

type Events = { events: MergedEvent[]; silent: string[] }
const events = (...args: string[]): Promise<Events> => json('cluster', 'events', ...args)

/** Those after the event that was the last one before `body`. */
async function eventsOf(body: () => Promise<void>): Promise<MergedEvent[]> {
  const before = (await events()).events.at(-1)?.at ?? ''
  await body()
  return (await events()).events.filter(({ at }) => at > before)
}

async function shard() {
  const [found] = (await cluster.status()).shards
  if (found === undefined) throw new Error('no shard')
  return found
}

async function leaderPid(): Promise<number> {
  const { poolers, leader } = await serving()
  return poolers.find(({ id }) => id === leader)?.postgres.pid ?? 0
}

/** One leader serves and all members run. */
async function serving() {
  return await until(
    async () => {
      const found = await shard()
      const leads = found.poolers.some(({ id, serving: serves }) => serves && id === found.leader)
      const whole = found.poolers.every(({ postgres: pg }) => pg.current && pg.pid !== null)
      return leads && whole ? found : undefined
    },
    { deadlineMs: 60_000, what: 'a leader serves' },
  )
}

const pidOf = (id: string): number =>
  recordedProcesses(cluster.dir).find((one) => 'id' in one && one.id === id)?.pid ?? 0

/** `id` takes no signal but the end, for as long as the result lives. */
function frozen(id: string): Disposable {
  const pid = pidOf(id)
  process.kill(pid, 'SIGSTOP')
  return { [Symbol.dispose]: () => void process.kill(pid, 'SIGCONT') }
}

async function within<T>(ms: number, body: () => Promise<T>): Promise<T> {
  const begun = performance.now()
  const result = await body()
  expect(performance.now() - begun).toBeLessThan(ms)
  return result
}

test(
  'a failover is told step by step, also while one orchestrator is frozen',
  async () => {
    using _ = frozen('zone1_orch2')
    const pid = await leaderPid()
    const told = await eventsOf(async () => {
      process.kill(pid, 'SIGKILL')
      await until(async () => (await leaderPid()) !== pid, { deadlineMs: 60_000 })
    })
    const kinds = told.map(({ kind }) => kind)
    const story = [
      'problem.found',
      'appointment.began',
      'appointment.recruited',
      'appointment.promoting',
      'leader.serves',
    ]
    expect(kinds.filter((kind) => story.includes(kind)).slice(0, story.length)).toEqual(story)
    const began = told.find(({ kind }) => kind === 'appointment.began')
    expect(began).toMatchObject({ by: 'zone1_orch1', term: 2 })
    expect(began?.reason).not.toBeNull()
    const served = told.find(({ kind }) => kind === 'leader.serves')
    expect(served).toMatchObject({ rule: '2.0' })
    expect(served?.took_ms).toBeGreaterThan(0)
    const decided = told.find(({ kind }) => kind === 'appointment.decided')
    expect(decided?.took_ms).toBeGreaterThan(0)
    const seen = await within(ANSWER_MS, () => events())
    expect(seen.silent).toEqual(['zone1_orch2'])
  },
  SLOW_MS,
)

test(
  'an orchestrator that dies in the middle of an appointment has told how far it was',
  async () => {
    const ice = frozen('zone1_orch2')
    const pid = await leaderPid()
    const orch = pidOf('zone1_orch1')
    const follow = spawnMultigres(['cluster', 'events', '--follow', '--json', dirFlag()])
    const before = new Date().toISOString()
    let killed = 0
    const watching = eachLine(follow.stdout, (event) => {
      if (killed === 0 && event.at > before && event.kind === 'appointment.began') {
        process.kill(orch, 'SIGKILL')
        killed = event.term ?? 0
      }
    })
    process.kill(pid, 'SIGKILL')
    await until(() => killed > 0, { deadlineMs: 30_000, what: 'an appointment begins' })
    ice[Symbol.dispose]()
    const { term } = await serving()
    expect(term).toBeGreaterThanOrEqual(killed)
    const { events: told } = await events()
    expect(told.some(({ kind, term: of }) => kind === 'appointment.began' && of === killed)).toBe(
      true,
    )
    follow.kill('SIGINT')
    expect(await follow.exited).toBe(0)
    await watching
  },
  SLOW_MS,
)

test(
  'a switchover is told while it goes on',
  async () => {
    await serving()
    const follow = spawnMultigres(['cluster', 'events', '--follow', dirFlag()])
    const text = new Response(follow.stdout).text()
    const { poolers, leader } = await shard()
    const to = poolers.find(({ id }) => id !== leader)?.id ?? ''
    await until(async () => (await run('cluster', 'switchover', `--to=${to}`)).exitCode === 0, {
      deadlineMs: 60_000,
    })
    const { events: told } = await events()
    const kinds = told.map(({ kind }) => kind)
    for (const kind of ['switchover.began', 'switchover.resigned', 'switchover.ended']) {
      expect(kinds).toContain(kind)
    }
    follow.kill('SIGINT')
    expect(await follow.exited).toBe(0)
    expect(await text).toContain(`${to} leads in place of ${leader}: clients waited`)
  },
  SLOW_MS,
)

test(
  'paused, nobody acts, also not orchestrators that start anew; they say what they would do',
  async () => {
    const pid = await leaderPid()
    const paused = await json<RecoveryView>('cluster', 'recovery', 'pause', '--reason=new disks')
    expect(paused.shards[0]?.orchs.map((orch) => orch.paused)).toEqual([true, true])
    expect(paused.shards[0]?.orchs[0]?.paused_reason).toBe('new disks')
    for (const id of ['zone1_orch1', 'zone1_orch2']) process.kill(pidOf(id), 'SIGKILL')
    process.kill(pid, 'SIGKILL')
    const { progress, recovery } = await until(
      async () => {
        const found = await shard()
        return found.progress?.phase === 'paused' ? found : undefined
      },
      { deadlineMs: 60_000, what: 'the status says that it is paused' },
    )
    expect(recovery).toMatchObject({ paused: true, paused_reason: 'new disks' })
    expect(progress?.since).not.toBeNull()
    const refused = await run('cluster', 'switchover')
    expect(refused).toMatchObject({ exitCode: 1 })
    const { term } = await shard()
    const { events: told } = await events()
    expect(told.findLast(({ kind }) => kind === 'recovery.would_act')?.text).toContain(
      'appoint a leader',
    )
    // One that began anew just now waits a moment for the others of the cohort before it acts.
    const triggered = await until(
      async () => {
        const answer = await run('cluster', 'recovery', 'trigger')
        return answer.stdout.includes('appoint a leader') ? answer : undefined
      },
      { deadlineMs: 60_000, what: 'the orchestrator that acts has heard of all' },
    )
    expect(triggered.stdout).toContain('appoint a leader')
    expect(triggered.exitCode).toBe(0)
    expect((await serving()).term).toBeGreaterThan(term)
    const resumed = await json<RecoveryView>('cluster', 'recovery', 'resume')
    expect(resumed.shards[0]?.orchs.map((orch) => orch.paused)).toEqual([false, false])
  },
  SLOW_MS,
)

test(
  'a pause that an orchestrator does not confirm is told as such',
  async () => {
    using _ = frozen('zone1_orch1')
    const flags = ['--wait=1s', '--json']
    const { exitCode, stderr } = await within(ANSWER_MS, () =>
      run('cluster', 'recovery', 'pause', ...flags),
    )
    expect(exitCode).toBe(1)
    expect(stderr).toContain('zone1_orch1 does not answer in time and may still act')
    using __ = frozen('zone1_orch2')
    const nobody = await within(ANSWER_MS, () => run('cluster', 'recovery', 'resume'))
    expect(nobody.exitCode).toBe(1)
    expect(nobody.stderr).toContain('no orchestrator answers (zone1_orch1: ')
    const silent = await within(ANSWER_MS, () => events())
    expect(silent.silent).toEqual(['zone1_orch1', 'zone1_orch2'])
    expect(silent.events.length).toBeGreaterThan(0) // from their files
  },
  SLOW_MS,
)

test(
  'orchestrators that hang for a moment cost a command no more than that',
  async () => {
    const hang = [frozen('zone1_orch1'), frozen('zone1_orch2')]
    const resuming = run('cluster', 'recovery', 'resume')
    await pause(HANG_MS)
    for (const each of hang) each[Symbol.dispose]()
    const { exitCode, stderr } = await resuming
    expect([exitCode, stderr]).toEqual([0, expect.not.stringContaining('answers')])
  },
  SLOW_MS,
)

test(
  'a query that kills every leader is stopped after three failovers, until somebody lifts it',
  async () => {
    expect((await run('cluster', 'recovery', 'resume')).exitCode).toBe(0)
    const { term: before } = await serving()
    await until(
      async () => {
        await tryPoison()
        return (await shard()).recovery?.stopped ?? undefined
      },
      { deadlineMs: 90_000, what: 'failovers are stopped' },
    )
    // The last of its leaders is looked after for a moment before it is left alone.
    const stopped = await until(async () => {
      const state = await shard()
      return state.progress?.phase === 'stopped' ? state : undefined
    })
    expect(stopped.term - before).toBe(3)
    expect(stopped.recovery?.stopped).toContain('3 failovers')
    const { events: told } = await events()
    const event = told.findLast(({ kind }) => kind === 'failovers.stopped')
    expect(event?.reason).toContain(POISON)
    expect((await run('cluster', 'recovery', 'resume')).exitCode).toBe(0)
    expect((await serving()).term).toBeGreaterThan(stopped.term)
  },
  SLOW_MS,
)

test(
  'by an operator’s word a leader is appointed without the lost, and only then',
  async () => {
    const { leader } = await serving()
    const override = (...flags: string[]) => run('cluster', 'recovery', 'override', ...flags)
    expect(await override('--lost=zone1_pooler1')).toMatchObject({ exitCode: 2 }) // not certified
    expect(await override('--certify')).toMatchObject({ exitCode: 2 })
    const led = await override('--certify', `--lost=${leader}`)
    expect(led).toMatchObject({ exitCode: 1 })
    expect(led.stderr).toContain(`${leader} leads`)
    const { poolers } = await shard()
    const [kept, other] = poolers.map(({ id }) => id).filter((id) => id !== leader)
    const lost = poolers.filter(({ id }) => id !== kept)
    const pids = lost.flatMap(({ pid, pgctld_pid, postgres: pg }) => [pid, pgctld_pid, pg.pid])
    for (const pid of pids) process.kill(pid ?? 0, 'SIGSTOP')
    try {
      await until(async () => (await shard()).progress !== null, { deadlineMs: 30_000 })
      const one = await override('--certify', `--lost=${leader}`)
      expect(one).toMatchObject({ exitCode: 1 })
      expect(one.stderr).toContain(`${other} is neither recruited nor said to be lost`)
      const both = ['--certify', `--lost=${leader},${other}`]
      expect((await override(...both)).stderr).toContain('cannot satisfy at_least_2')
      const done = await override(...both, '--durability=at_least_1', '--reason=burnt', '--json')
      expect(JSON.parse(done.stdout)).toMatchObject({ leader: kept, cohort: [kept] })
      const served = await until(
        async () => (await shard()).poolers.find(({ id, serving: s }) => id === kept && s),
        { deadlineMs: 30_000, what: 'the one that is left serves' },
      )
      expect(served.role).toBe('leader')
    } finally {
      for (const pid of pids) process.kill(pid ?? 0, 'SIGCONT')
    }
    const { events: told } = await events()
    const began = told.findLast(({ kind }) => kind === 'appointment.began')
    expect(began?.reason).toContain('are lost for good (burnt)')
  },
  SLOW_MS,
)

test(
  'locks are listed and shown with their holder, their line and the store',
  async () => {
    await using topology = await connectTopology(cluster.started.topology, { log: nullLogger })
    await using locks = new LockService(topology, { log: nullLogger })
    const options = { client: 'backup', requestId: 'one', metadata: { why: 'a backup' } }
    await using _ = await locks.acquire('shard/postgres/backup', options)
    const wait = new AbortController()
    const waiting = locks.acquire('shard/postgres/backup', {
      client: 'resharding',
      requestId: 'two',
      wait: true,
      signal: wait.signal,
    })
    const waited = waiting.then(
      () => false,
      () => true,
    )
    type Locks = { locks: { lock: string; owner: string; waiter_count: number }[]; store: object }
    const { locks: listed, store } = await until(
      async () => {
        const found = await json<Locks>('locks', 'list')
        return found.locks[0]?.waiter_count === 1 ? found : undefined
      },
      { deadlineMs: 30_000, what: 'somebody waits' },
    )
    expect(listed).toMatchObject([{ lock: 'shard/postgres/backup', owner: 'backup' }])
    expect(store).toMatchObject({ raft: { role: 'leader', has_quorum: true } })
    const shown = await run('locks', 'show', 'shard/postgres/backup')
    expect(shown.stdout).toContain('held by backup')
    expect(shown.stdout).toContain('1. resharding, priority 0')
    expect(shown.stdout).toContain('why=a backup')
    wait.abort()
    expect(await waited).toBe(true)
    expect(await run('locks', 'show', 'nobodys')).toMatchObject({ exitCode: 1, stdout: '' })
  },
  SLOW_MS,
)

const dirFlag = (): string => `--dir=${cluster.dir}`

/** Runs it once, wherever it comes to; what it ends with is no matter. */
async function tryPoison(): Promise<void> {
  const sql = postgres(cluster.url, { max: 1, connect_timeout: 2, onnotice: () => {} })
  const query = sql.unsafe(POISON).catch(() => undefined)
  await Promise.race([query, until(() => false, { deadlineMs: 1500 }).catch(() => undefined)])
  await sql.end({ timeout: 0 })
}

/** Calls back with each event of a stream of JSON lines, until it ends. */
async function eachLine(
  stream: ReadableStream<Uint8Array>,
  callback: (event: MergedEvent) => void,
): Promise<void> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true })
    const lines = text.split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) callback(JSON.parse(line) as MergedEvent)
  }
}
