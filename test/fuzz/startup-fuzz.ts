import { saslResponse, startup } from '../../shared/pgwire/frontend.ts'
import { Frontend, type Address } from '../support/frontend.ts'
import { Random } from '../support/random.ts'

/** Startup packets that the oracle and the server took differently. */
export type StartupDifference = { seed: number; bytes: string; oracle: string; server: string }

const PROTOCOL_VERSIONS = [0x30000, 0x30002, 0x20000, 0x40000, 80877102, 80877103, 80877104, 0]
const LENGTHS = [0, 3, 4, 8, 9, 16, 10_001, 0x7fffffff, -1]

/**
 * Sends packets that are no sound startup to oracle and server, and ends our side behind each.
 * Allowed: the same first message and the same SQLSTATE, or a close without a word; and what
 * `allowed` names.
 */
export async function fuzzStartup(
  oracle: Address,
  server: Address,
  options: { seed: number; count: number },
): Promise<StartupDifference[]> {
  const differences: StartupDifference[] = []
  for (let i = 0; i < options.count; i += 1) {
    const seed = options.seed + i
    const bytes = startupBytes(new Random(seed))
    const [expected, actual] = await Promise.all([answer(oracle, bytes), answer(server, bytes)])
    if (allowed(expected, actual)) continue
    const [told, said] = [`${expected.first} ${expected.code}`, `${actual.first} ${actual.code}`]
    differences.push({ seed, bytes: bytes.toString('hex'), oracle: told, server: said })
  }
  return differences
}

/** The first byte of what was said (`''` for nothing), and the SQLSTATE in it, if any. */
type Answer = { first: string; code: string }

function allowed(oracle: Answer, server: Answer): boolean {
  if (oracle.first === '' || server.first === '') return true
  // We refuse names that are not UTF-8; Postgres takes them as bytes and knows no such name.
  if (server.code === '22021') return oracle.first === 'R' || oracle.first === 'E'
  // In protocol 2 Postgres's refusal is a text without a SQLSTATE.
  if (oracle.first === 'E' && oracle.code === '') return server.first === 'E'
  // The oracle was started without TLS.
  if (oracle.first === 'N' && server.first === 'S') return true
  // The pooler's own port refuses before AuthenticationOk what Postgres refuses behind it.
  if (oracle.code !== '' && oracle.code === server.code) return true
  return oracle.first === server.first && server.code === ''
}

async function answer(address: Address, bytes: Buffer): Promise<Answer> {
  await using frontend = await Frontend.open(address)
  frontend.send(bytes)
  frontend.end()
  const said = (await frontend.bytesUntilClosed()).toString('latin1')
  return { first: said.slice(0, 1), code: /\0C([0-9A-Z]{5})\0/.exec(said)?.[1] ?? '' }
}

function startupBytes(random: Random): Buffer {
  const sound = startup({ user: 'postgres', database: 'postgres' }, random.pick(PROTOCOL_VERSIONS))
  switch (random.integer(6)) {
    case 0: {
      const bytes = random.bytes(4 + random.integer(60))
      bytes.writeInt32BE(random.pick(LENGTHS), 0)
      return bytes
    }
    case 1: {
      sound.writeInt32BE(random.pick(LENGTHS), 0)
      return sound
    }
    case 2: {
      sound[4 + random.integer(sound.length - 4)] = random.integer(256)
      return sound
    }
    case 3:
      return sound.subarray(0, 1 + random.integer(sound.length - 1))
    case 4: // an answer to what was not asked yet, or not so
      return Buffer.concat([sound, saslResponse(random.bytes(random.integer(40)))])
    default:
      return Buffer.concat([sound, random.bytes(random.integer(40))])
  }
}
