// Startup parameters as the settings of a session, in one canonical form: pools are made by them.

import { PgError, type Condition } from '../../shared/errors/pg-error.ts'
import type { StartupMessage } from '../../shared/pgwire/startup-packet.ts'
import { COMMIT_SETTING, keepsCommitPolicy } from '../session/commit-policy.ts'

/** Settings of one startup packet; its length bounds them too. */
const OPTIONS_MAX = 100
/** Of the many who ask for nothing. */
const NONE: [string, string][] = []
/** Startup parameters that are not settings: they must not get in through `options`. */
const RESERVED = new Set(['user', 'database', 'options', 'replication'])

/**
 * A startup message's settings by lower-case name, sorted. Later ones win, and parameters of the
 * packet win over `options`, as in Postgres.
 * @throws PgError syntax_error, undefined_object, program_limit_exceeded; all FATAL.
 */
export function sessionSettings(startup: StartupMessage): [string, string][] {
  const settings = new Map<string, string>()
  for (const [name, value] of optionSettings(splitOptions(startup.options))) {
    if (RESERVED.has(name) || name.startsWith('_pq_.')) throw unrecognized(name)
    settings.set(name, value)
  }
  for (const [name, value] of startup.settings) settings.set(name.toLowerCase(), value)
  refuseWeakCommit(settings.get(COMMIT_SETTING))
  if (settings.size > OPTIONS_MAX) {
    throw fatal('program_limit_exceeded', `more than ${OPTIONS_MAX} startup options`)
  }
  if (settings.size === 0) return NONE
  return [...settings].toSorted(([left], [right]) => (left < right ? -1 : 1))
}

/** An acknowledged write is on as many nodes as the cluster promises, whatever is asked for. */
function refuseWeakCommit(value: string | undefined): void {
  if (value === undefined || keepsCommitPolicy(value)) return
  throw fatal('feature_not_supported', `synchronous_commit cannot be "${value}" in this cluster`)
}

/** Splits at white space; a backslash takes the next character as it is (pg_split_opts). */
function splitOptions(text: string): string[] {
  const words: string[] = []
  let word: string | undefined
  for (let at = 0; at < text.length; at++) {
    const char = text[at] as string
    if (/[ \t\n\r\f\v]/.test(char)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else if (char === '\\') {
      word = (word ?? '') + (text[++at] ?? '')
    } else {
      word = (word ?? '') + char
    }
  }
  if (word !== undefined) words.push(word)
  return words
}

/** Switches of a backend's command line that a client may use. Source: postgres.c. */
const SWITCHES: Readonly<Record<string, (value: string) => [string, string][]>> = {
  '-S': (value) => [['work_mem', value]],
  '-d': (value) => (value === '0' ? [] : [['log_min_messages', `debug${value}`]]),
}

function optionSettings(words: readonly string[]): [string, string][] {
  const settings: [string, string][] = []
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string
    if (word.startsWith('--')) {
      settings.push(longOption(word.slice(2), word))
    } else if (word === '-e') {
      settings.push(['datestyle', 'european'])
    } else if (word.startsWith('-c') || SWITCHES[word.slice(0, 2)] !== undefined) {
      const value = word.length > 2 ? word.slice(2) : words[++at]
      const name = word.slice(0, 2)
      if (value === undefined) throw invalidArgument(word)
      if (name === '-c') settings.push(longOption(value, `-c ${value}`))
      else settings.push(...(SWITCHES[name]?.(value) ?? []))
    } else {
      throw invalidArgument(word)
    }
  }
  return settings
}

function longOption(text: string, shown: string): [string, string] {
  const equals = text.indexOf('=')
  if (equals < 0) throw fatal('syntax_error', `${shown} requires a value`)
  return [text.slice(0, equals).replaceAll('-', '_').toLowerCase(), text.slice(equals + 1)]
}

function unrecognized(name: string): PgError {
  return fatal('undefined_object', `unrecognized configuration parameter "${name}"`)
}

function invalidArgument(word: string): PgError {
  return fatal('syntax_error', `invalid command-line argument for server process: ${word}`)
}

function fatal(condition: Condition, message: string): PgError {
  return new PgError(condition, message, { severity: 'FATAL' })
}
