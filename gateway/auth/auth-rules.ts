// The rules in force, and the file that they come from.
//
// Invariant: the rules in force are always those of one whole file without a mistake, or the ones
// that hold without a file. A file that is broken, or gone, changes nothing but what is said of it.

import { readFileSync, statSync } from 'node:fs'
import { StartError } from '../../shared/lifecycle/start-error.ts'
import type { Logger } from '../../shared/log/logger.ts'
import { findRule } from './hba-match.ts'
import { parseHba, roleNames, type HbaText } from './hba-parse.ts'
import type { HbaRule, Newcomer } from './hba-rule.ts'
import { IdentMaps } from './ident-map.ts'

/** What an AuthRules looks at; read anew at each look. */
export type AuthRulesOptions = {
  readonly file: () => string | undefined
  readonly log: Logger
}

type RuleSet = {
  readonly rules: readonly HbaRule[]
  readonly maps: IdentMaps
  /** Roles whose members are meant. */
  readonly roles: readonly string[]
  /** Some rule goes by membership, so the role must be asked about before one can be chosen. */
  readonly asks: boolean
}

/** What holds without a file: everybody proves a password. */
const DEFAULT_TEXT = `local all,replication all scram-sha-256
host all,replication all all scram-sha-256`
/** With a CA for clients and no file, who comes by TLS also shows a certificate of it. */
const DEFAULT_CA_TEXT = `hostssl all,replication all all scram-sha-256 clientcert=verify-ca
${DEFAULT_TEXT}`

/** What is wrong with the rules file `path`, in one line; undefined when it is good. */
export function complaintAboutRules(path: string): string | undefined {
  const { problems } = read(path)
  return problems.length === 0 ? undefined : `is no rules file: ${problems.join('; ')}`
}

/** The rules in force. */
export class AuthRules {
  readonly #options: AuthRulesOptions
  readonly #hits = new Map<HbaRule, number>()
  #set: RuleSet
  #file: string | undefined
  #loaded = ''
  #seen = ''
  #problems: readonly string[] = []

  /** @throws StartError when there is a file and it is broken. */
  constructor(options: AuthRulesOptions, clientCa: boolean) {
    this.#options = options
    this.#set = defaultSet(clientCa)
    const file = options.file()
    if (file === undefined) return
    this.#loaded = this.#seen = versionOf(file)
    this.#load(file)
    if (this.#problems.length > 0) throw new StartError(`${file}: ${this.#problems.join('; ')}`)
  }

  /** What must be asked about a role besides its login row; undefined when a rule needs nothing. */
  get roles(): readonly string[] | undefined {
    return this.#set.asks ? this.#set.roles : undefined
  }

  /** Which names in certificates stand for which roles. */
  get maps(): IdentMaps {
    return this.#set.maps
  }

  /** The rule about a client; undefined when there is none. */
  find(who: Newcomer, memberOf: readonly string[]): HbaRule | undefined {
    const rule = findRule(this.#set.rules, who, new Set(memberOf))
    if (rule !== undefined) this.#hits.set(rule, (this.#hits.get(rule) ?? 0) + 1)
    return rule
  }

  /**
   * Takes another path at once, and a changed file when it was the same at two looks: one that is
   * being written is half of somebody's rules.
   */
  look(): void {
    const file = this.#options.file()
    if (file === undefined || file === '') return
    const version = versionOf(file)
    const settled = version === this.#seen || file !== this.#file
    this.#seen = version
    if (!settled || version === this.#loaded) return
    this.#loaded = version
    this.#load(file)
    const { log } = this.#options
    for (const problem of this.#problems) log.error('rules stay those before', { file, problem })
    if (this.#problems.length === 0) {
      log.info('rules loaded', { file, rules: this.#set.rules.length })
    }
  }

  /** For people. */
  describe(): Record<string, unknown> {
    return {
      file: this.#file ?? null,
      problems: this.#problems,
      rules: this.#set.rules.map((rule) => ({
        line: rule.line,
        text: rule.text,
        logins: this.#hits.get(rule) ?? 0,
      })),
    }
  }

  #load(file: string): void {
    const text = read(file)
    this.#problems = text.problems
    if (text.problems.length > 0) return
    this.#file = file
    this.#set = setOf(text)
    this.#hits.clear()
  }
}

function read(file: string): HbaText {
  try {
    return parseHba(readFileSync(file, 'utf8'))
  } catch (error) {
    return { rules: [], maps: [], problems: [`cannot read it: ${(error as Error).message}`] }
  }
}

/** Changes whenever the file does; empty while it is not there. */
function versionOf(file: string): string {
  const stat = statSync(file, { bigint: true, throwIfNoEntry: false })
  return stat === undefined ? 'none' : `${file} ${stat.ino} ${stat.size} ${stat.mtimeNs}`
}

function setOf({ rules, maps }: HbaText): RuleSet {
  const roles = roleNames(rules)
  const sameRole = rules.some(({ databases }) => databases.some(({ kind }) => kind === 'samerole'))
  return { rules, maps: new IdentMaps(maps), roles, asks: roles.length > 0 || sameRole }
}

function defaultSet(clientCa: boolean): RuleSet {
  const text = parseHba(clientCa ? DEFAULT_CA_TEXT : DEFAULT_TEXT)
  return setOf({ ...text, rules: text.rules.map((rule) => ({ ...rule, line: 0 })) })
}
