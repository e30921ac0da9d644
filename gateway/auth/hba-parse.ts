// A rules file: lines as in pg_hba.conf, with the methods that this gateway has. A file with any
// mistake is no file: half of somebody's rules may let in whom the other half keeps out.

import { readLines, type HbaLine, type HbaWord } from './hba-line.ts'
import type {
  AddressSet,
  ClientCert,
  DatabaseWord,
  HbaMethod,
  HbaRule,
  HbaType,
  UserWord,
} from './hba-rule.ts'
import type { IdentEntry } from './ident-map.ts'
import { maskOf, parseIp } from './ip-address.ts'

/** Rules of one file: each is looked at for every login. */
export const RULES_MAX = 10_000
/** Names of roles in one file whose members are meant: they are asked about at every login. */
export const ROLES_MAX = 200

const TYPES = ['local', 'host', 'hostssl', 'hostnossl', 'hostgssenc', 'hostnogssenc'] as const
const METHODS = ['scram-sha-256', 'trust', 'cert', 'reject'] as const
const KNOWN = `the methods are ${METHODS.join(', ')}`

/** What a text says, or everything that is wrong with it, by line. */
export type HbaText = {
  readonly rules: readonly HbaRule[]
  readonly maps: readonly IdentEntry[]
  readonly problems: readonly string[]
}

/** Reads a text. `problems` not empty: the rest is not to be used. */
export function parseHba(text: string): HbaText {
  const rules: HbaRule[] = []
  const maps: IdentEntry[] = []
  const problems: string[] = []
  for (const line of readLines(text)) {
    try {
      if (line.fields[0]?.[0]?.text === 'map') maps.push(parseMap(line))
      else rules.push(parseRule(line))
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      problems.push(`line ${line.number}: ${error.message}`)
    }
  }
  for (const { line, map } of rules) {
    if (map === undefined || maps.some((entry) => entry.map === map)) continue
    problems.push(`line ${line}: there is no map "${map}": map NAME CERTIFICATE-NAME ROLE`)
  }
  if (rules.length + maps.length > RULES_MAX) problems.push(`more than ${RULES_MAX} lines`)
  if (roleNames(rules).length > ROLES_MAX) problems.push(`more than ${ROLES_MAX} roles with +`)
  if (rules.length + problems.length === 0) problems.push('no rule: nobody could log in')
  return { rules, maps, problems }
}

/** The roles whose members some rule means. */
export function roleNames(rules: readonly HbaRule[]): string[] {
  const names = rules.flatMap(({ users }) =>
    users.flatMap((word) => (word.kind === 'member' ? [word.name] : [])),
  )
  return [...new Set(names)]
}

function parseRule({ number, text, fields }: HbaLine): HbaRule {
  const rest = [...fields]
  const type = oneOf(TYPES, only(rest.shift(), 'connection type'), 'connection type')
  const databases = (rest.shift() ?? missing('database')).map(databaseWord)
  const users = (rest.shift() ?? missing('user')).map(userWord)
  const address = type === 'local' ? 'all' : parseAddress(rest)
  const method = parseMethod(only(rest.shift(), 'method'))
  const options = parseOptions(rest.flat(), { type, method })
  return { line: number, text, type, databases, users, address, method, ...options }
}

function parseMap({ fields }: HbaLine): IdentEntry {
  const [, map, name, role] = fields.map((field) => field[0])
  if (map === undefined || name === undefined || role === undefined || fields.length > 4) {
    throw new RangeError('a map is: map NAME CERTIFICATE-NAME ROLE')
  }
  for (const word of [name, role]) if (!word.quoted) refuseSpecial(word.text)
  const all = role.text === 'all' && !role.quoted
  return { map: map.text, name: name.text, role: all ? undefined : role.text }
}

function only(field: readonly HbaWord[] | undefined, what: string): string {
  const [word, second] = field ?? missing(what)
  if (word === undefined || second !== undefined) throw new RangeError(`more than one ${what}`)
  return word.text
}

function missing(what: string): never {
  throw new RangeError(`the line ends before its ${what}`)
}

function oneOf<T extends string>(known: readonly T[], text: string, what: string): T {
  const found = known.find((word) => word === text)
  if (found !== undefined) return found
  throw new RangeError(`unknown ${what} "${text}": ${known.join(', ')}`)
}

function databaseWord(word: HbaWord): DatabaseWord {
  if (!word.quoted) {
    refuseSpecial(word.text)
    if (word.text === 'samegroup') return { kind: 'samerole' }
    const kind = (['all', 'sameuser', 'samerole', 'replication'] as const).find(
      (keyword) => keyword === word.text,
    )
    if (kind !== undefined) return { kind }
  }
  return { kind: 'name', name: word.text }
}

function userWord(word: HbaWord): UserWord {
  if (!word.quoted) {
    refuseSpecial(word.text)
    if (word.text === 'all') return { kind: 'all' }
    if (word.text.startsWith('+')) return { kind: 'member', name: word.text.slice(1) }
  }
  return { kind: 'name', name: word.text }
}

function refuseSpecial(text: string): void {
  if (text.startsWith('@')) throw new RangeError(`"${text}": other files are not read; list names`)
  if (text.startsWith('/')) {
    throw new RangeError(`"${text}": regular expressions are not supported; list names, or quote`)
  }
}

/** The address of a line; a mask in a column of its own is taken from `rest` too. */
function parseAddress(rest: (readonly HbaWord[])[]): AddressSet {
  const [word, second] = rest.shift() ?? missing('address')
  if (word === undefined || second !== undefined) throw new RangeError('more than one address')
  const { text, quoted } = word
  if (!quoted && (text === 'all' || text === 'samehost' || text === 'samenet')) return text
  const [name = '', bits, more] = text.split('/')
  const address = parseIp(name)
  if (address === undefined || more !== undefined) {
    throw new RangeError(`"${text}" is not an address; names of hosts are not looked up`)
  }
  if (bits !== undefined)
    return { address, mask: maskOf(parseBits(bits, text, address), address.length) }
  const mask = parseIp(only(rest.shift(), 'mask'))
  if (mask?.length !== address.length) {
    throw new RangeError(`"${text}" needs a mask: ${text}/${8 * address.length} for this one alone`)
  }
  return { address, mask }
}

function parseBits(bits: string, text: string, address: Uint8Array): number {
  const number = /^\d+$/.test(bits) ? Number(bits) : Number.NaN
  // An IPv4 address in IPv6 clothes counts its bits as IPv6 does.
  const own = text.includes(':') && address.length === 4 ? number - 96 : number
  if (own >= 0 && own <= 8 * address.length) return own
  throw new RangeError(`"${text}" has a prefix that its address has not`)
}

/** Methods that PostgreSQL has and this gateway has not, with what to use. */
const OTHER_METHODS: Readonly<Record<string, string>> = {
  md5: 'use scram-sha-256, and set md5 passwords anew',
  password: 'use scram-sha-256, which sends no password',
  peer: 'use trust on a socket folder that only its users can enter, or scram-sha-256',
  ident: 'use scram-sha-256 or cert',
}

function parseMethod(text: string): HbaMethod {
  const found = METHODS.find((method) => method === text)
  if (found !== undefined) return found
  const hint = Object.hasOwn(OTHER_METHODS, text) ? OTHER_METHODS[text] : KNOWN
  throw new RangeError(`method "${text}" is not supported: ${hint}`)
}

function parseOptions(
  words: readonly HbaWord[],
  { type, method }: { type: HbaType; method: HbaMethod },
): Pick<HbaRule, 'clientCert' | 'map'> {
  if (method === 'cert' && type !== 'hostssl') {
    throw new RangeError('cert needs TLS: use hostssl')
  }
  let clientCert: ClientCert = method === 'cert' ? 'verify-full' : 'no'
  let map: string | undefined
  for (const { text } of words) {
    const equals = text.indexOf('=')
    const [name, value] = [text.slice(0, equals), text.slice(equals + 1)]
    if (equals < 0) throw new RangeError(`"${text}" is not an option: NAME=VALUE`)
    if (name === 'map') {
      if (method !== 'cert') throw new RangeError('map goes with the method cert')
      map = value
    } else if (name === 'clientcert') {
      if (type !== 'hostssl') throw new RangeError('clientcert needs TLS: use hostssl')
      clientCert = oneOf(['verify-ca', 'verify-full'], value, 'clientcert')
      if (method === 'cert' && clientCert === 'verify-ca') {
        throw new RangeError('cert always verifies the name: clientcert=verify-ca contradicts it')
      }
    } else if (name !== 'clientname' || value !== 'CN') {
      throw new RangeError(`option "${text}" is not supported: map, clientcert, clientname=CN`)
    }
  }
  return { clientCert, map }
}
