// What clients do while a site is hurt: paced writers with a log each, readers of the logs,
// transactions on lists, transfers of money, and those that only make trouble. All that they did is
// in `history`.
import type { Address } from '../support/frontend.ts'
import type { Random } from '../support/random.ts'
import { auditBank, createBank, transferOnce } from './bank.ts'
import { Client } from './client.ts'
import { GapMeter } from './gaps.ts'
import type { Operation, Outcome } from './history.ts'
import { createLists, listTransaction, readAllLists } from './lists.ts'
import { createLogs, readLog, writeLog } from './logs.ts'
import { makeTrouble } from './trouble.ts'
import { pause } from '../support/pace.ts'

/** How many of each kind. */
export type WorkloadOptions = {
  readonly addresses: readonly Address[]
  readonly random: Random
  readonly writers?: number
  readonly readers?: number
  readonly listers?: number
  readonly bankers?: number
  /** Between an answer and the next write of a writer. */
  readonly writePauseMs?: number
  /** Cancels, terminated backends, cut connections, client_min_messages = error. */
  readonly trouble?: boolean
}

const WRITE_PAUSE_MS = 5
const READ_PAUSE_MS = 5
const LIST_PAUSE_MS = 20
const BANK_PAUSE_MS = 20
const TROUBLE_PAUSE_MS = 150
const LONG_MS = 5000

/** Runs from `start` to `stop`. */
export class Workload implements AsyncDisposable {
  readonly history: Operation[] = []
  readonly meters: readonly GapMeter[]
  readonly clients: Client[] = []
  /** When trouble was made. */
  readonly #troubles: number[] = []
  readonly #options: WorkloadOptions
  readonly #running: Promise<void>[] = []
  #stopping = false
  #paused = false

  constructor(options: WorkloadOptions) {
    this.#options = options
    this.meters = Array.from({ length: options.writers ?? 4 }, () => new GapMeter())
  }

  /** Makes the tables and begins. */
  async start(): Promise<void> {
    const { addresses, random, writers = 4, readers = 2, listers = 0, bankers = 0 } = this.#options
    const { writePauseMs = WRITE_PAUSE_MS } = this.#options
    await using setup = new Client('setup', addresses)
    await createLogs(setup, writers)
    await createLists(setup)
    await createBank(setup)
    this.meters.forEach((meter, key) => {
      let value = 0
      this.#run(`writer${key}`, writePauseMs, (client) => {
        value += 1
        return writeLog(client, { key, value, meter })
      })
    })
    for (let at = 0; at < readers; at += 1) {
      this.#run(`reader${at}`, READ_PAUSE_MS, (client) => readLog(client, random.integer(writers)))
    }
    const names = { next: 0 }
    for (let at = 0; at < listers; at += 1) {
      this.#run(`lister${at}`, LIST_PAUSE_MS, (client) => listTransaction(client, random, names))
    }
    for (let at = 0; at < bankers; at += 1) {
      this.#run(`banker${at}`, BANK_PAUSE_MS, (client) => transferOnce(client, random))
    }
    if (bankers > 0) this.#run('auditor', BANK_PAUSE_MS * 5, auditBank)
    if (this.#options.trouble === true) {
      const victims = this.clients.filter(({ name }) => !name.startsWith('auditor'))
      this.#run('trouble', TROUBLE_PAUSE_MS, (client) => this.#trouble(client, victims))
    }
  }

  /** Writers send nothing until `resume`; what is on its way goes on. */
  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
  }

  /** The longest gap of any session since the last call. */
  takeGap(): number {
    return Math.max(...this.meters.map((meter) => meter.take()))
  }

  /** Acknowledged writes so far. */
  get acknowledged(): number {
    return this.tally().ok
  }

  /** Acts of trouble; each may have cost one write its outcome. */
  troublesSince(fromMs: number): number {
    return this.#troubles.filter((atMs) => atMs >= fromMs).length
  }

  /** Clients that wait for an answer, and for how long. */
  waiting(): string {
    const waits = this.clients.flatMap(({ name, waitingMs }) =>
      waitingMs > LONG_MS ? `${name} waits for ${waitingMs.toFixed(0)} ms` : [],
    )
    return waits.join(', ') || 'no client waits'
  }

  /** Writes and transactions by outcome. */
  tally(): Record<Outcome, number> {
    const tally = { ok: 0, failed: 0, unknown: 0 }
    for (const operation of this.history) if ('outcome' in operation) tally[operation.outcome] += 1
    return tally
  }

  /** As `codeList`, for people. */
  codes(): string {
    return this.codeList()
      .map(([code, count]) => `${code} ${count}`)
      .join(', ')
  }

  /** What clients were told, by code. */
  codeList(): [code: string, count: number][] {
    const all = new Map<string, number>()
    for (const { codes } of this.clients) {
      for (const [code, count] of codes) all.set(code, (all.get(code) ?? 0) + count)
    }
    return [...all]
  }

  /** Ends everything and reads lists and bank once more. */
  async stop(): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    await Promise.all(this.#running)
    const { addresses, listers = 0, bankers = 0 } = this.#options
    await using last = new Client('last', addresses)
    if (listers > 0) this.#note(await readAllLists(last))
    if (bankers > 0) this.#note(await auditBank(last))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#running)
    for (const client of this.clients) await client.drop()
  }

  #trouble(client: Client, victims: readonly Client[]): Promise<undefined> {
    this.#troubles.push(performance.now())
    return makeTrouble(client, victims, this.#options.random)
  }

  #note(operation: Operation | undefined): void {
    if (operation !== undefined) this.history.push(operation)
  }

  #run(
    name: string,
    pauseMs: number,
    act: (client: Client) => Promise<Operation | undefined>,
  ): void {
    const client = new Client(name, this.#options.addresses)
    this.clients.push(client)
    const run = async (): Promise<void> => {
      while (!this.#stopping) {
        if (!this.#paused || !name.startsWith('writer')) this.#note(await act(client))
        await pause(pauseMs)
      }
    }
    this.#running.push(run())
  }
}
