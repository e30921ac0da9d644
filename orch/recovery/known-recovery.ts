// What operators said about recovery, as the topology tells it; kept in a file, so that an
// orchestrator that starts while the topology is away does not act where it was told not to.
import { readFileSync, writeFileSync, renameSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '../../shared/log/logger.ts'
import { readRecovery, type RecoveryRecord } from '../../shared/topology/records.ts'

/** Where the topology's word comes from. */
export type RecoverySource = {
  /** It has told all there is. */
  readonly synced: boolean
  recovery(shard: string): RecoveryRecord | undefined
}

/** One shard's. */
export class KnownRecovery {
  readonly #shard: string
  readonly #source: RecoverySource
  readonly #file: string | undefined
  readonly #log: Logger
  #remembered: RecoveryRecord | undefined
  #text = ''

  constructor(options: {
    database: string
    shard: string
    source: RecoverySource
    stateDir: string | undefined
    log: Logger
  }) {
    const { database, shard, source, stateDir, log } = options
    this.#shard = shard
    this.#source = source
    this.#log = log
    const name = `recovery-${encodeURIComponent(`${database}/${shard}`)}.json`
    this.#file = stateDir === undefined ? undefined : join(stateDir, name)
    this.#remembered = this.#load()
  }

  /** Undefined where nobody ever said anything. */
  get current(): RecoveryRecord | undefined {
    if (!this.#source.synced) return this.#remembered
    const record = this.#source.recovery(this.#shard)
    if (record !== undefined) this.#save(record)
    return record
  }

  #load(): RecoveryRecord | undefined {
    if (this.#file === undefined) return undefined
    try {
      this.#text = readFileSync(this.#file, 'utf8')
      return readRecovery(this.#text)
    } catch {
      return undefined // there is none, or it was never whole
    }
  }

  /** A few bytes, seldom. */
  #save(record: RecoveryRecord): void {
    const text = JSON.stringify(record)
    if (text === this.#text || this.#file === undefined) return
    this.#text = text
    this.#remembered = record
    try {
      mkdirSync(join(this.#file, '..'), { recursive: true, mode: 0o700 })
      writeFileSync(`${this.#file}.tmp`, text, { mode: 0o600 })
      renameSync(`${this.#file}.tmp`, this.#file)
    } catch (error) {
      this.#log.error('cannot remember whether recovery is paused', { file: this.#file, error })
    }
  }
}
