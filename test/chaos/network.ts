// A network of the test's own: a namespace with an address for each node, all on one bridge, to be
// cut as a whole or in one direction. Needs root.
import type { NodeHost } from './site.ts'

const NOWHERE = '02:00:00:00:00:01' // nobody's MAC: frames to it are lost without a word
const TRIES_MAX = 20

/** Which packets of a node are lost. */
export const CUTS = ['both', 'out', 'in'] as const
export type Cut = (typeof CUTS)[number]

type Place = { readonly space: string; readonly link: string; readonly address: string }

/** See the head of this file. */
export class Network implements AsyncDisposable {
  readonly #bridge: string
  readonly #gateway: string
  readonly #places: readonly Place[]

  private constructor(bridge: string, gateway: string, places: readonly Place[]) {
    this.#bridge = bridge
    this.#gateway = gateway
    this.#places = places
  }

  /** A bridge and `count` namespaces, or why this machine has none. */
  static async create(count: number): Promise<Network | { skipped: string }> {
    if (process.getuid?.() !== 0) return { skipped: 'network namespaces need root' }
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      const net = 1 + Math.floor(Math.random() * 250)
      const bridge = `mgbr${net}`
      const made = await ip(`link add ${bridge} type bridge`)
      if (made.includes('exists')) continue
      if (made !== '') return { skipped: made }
      const places = Array.from({ length: count }, (_, at) => ({
        space: `mg${net}n${at + 1}`,
        link: `mg${net}v${at + 1}`,
        address: `10.213.${net}.${at + 1}`,
      }))
      const network = new Network(bridge, `10.213.${net}.254`, places)
      const failed = await network.#build()
      if (failed === '') return network
      await network[Symbol.asyncDispose]()
      return { skipped: failed }
    }
    return { skipped: 'every bridge is taken' }
  }

  /** Where nodes run. */
  get hosts(): NodeHost[] {
    return this.#places.map(({ space, address }) => {
      return { address, prefix: ['ip', 'netns', 'exec', space] }
    })
  }

  /** Loses the packets of the node at `address`, until `heal`. */
  async cut(address: string, cut: Cut): Promise<void> {
    const place = this.#at(address)
    if (cut === 'both') return must(await ip(`link set ${place.link} down`))
    for (const other of this.#others(place)) {
      const from = cut === 'out' ? place : other
      const to = cut === 'out' ? other.address : place.address
      must(await ip(`${inSpace(from)} neigh replace ${to} lladdr ${NOWHERE} dev ${deviceOf(from)}`))
    }
  }

  /** All packets of the node at `address` arrive again. */
  async heal(address: string): Promise<void> {
    const place = this.#at(address)
    must(await ip(`link set ${place.link} up`))
    for (const other of this.#others(place)) {
      // Absent unless it was cut in one direction.
      await ip(`${inSpace(place)} neigh del ${other.address} dev eth0`)
      await ip(`${inSpace(other)} neigh del ${place.address} dev ${deviceOf(other)}`)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { space, link } of this.#places) {
      await ip(`link del ${link}`)
      await ip(`netns del ${space}`)
    }
    await ip(`link del ${this.#bridge}`)
  }

  #at(address: string): Place {
    const place = this.#places.find((one) => one.address === address)
    if (place === undefined) throw new Error(`nobody is at ${address}`)
    return place
  }

  /** All other ends, the machine's own on the bridge too. */
  #others(place: Place): Place[] {
    const own = { space: '', link: this.#bridge, address: this.#gateway }
    return [...this.#places.filter((one) => one !== place), own]
  }

  async #build(): Promise<string> {
    const steps = [
      `addr add ${this.#gateway}/24 dev ${this.#bridge}`,
      `link set ${this.#bridge} up`,
      ...this.#places.flatMap(({ space, link, address }) => [
        `netns add ${space}`,
        `link add ${link} type veth peer name eth0 netns ${space}`,
        `link set ${link} master ${this.#bridge} up`,
        `-n ${space} addr add ${address}/24 dev eth0`,
        `-n ${space} link set eth0 up`,
        `-n ${space} link set lo up`,
      ]),
    ]
    for (const step of steps) {
      const failed = await ip(step)
      if (failed !== '') return `ip ${step}: ${failed}`
    }
    return ''
  }
}

const inSpace = ({ space }: Place): string => (space === '' ? '' : `-n ${space}`)
const deviceOf = ({ space, link }: Place): string => (space === '' ? link : 'eth0')

/** Runs ip(8); what it complained about, '' when it did not. */
async function ip(command: string): Promise<string> {
  const argv = command.split(' ').filter((word) => word !== '')
  const child = Bun.spawn(['ip', ...argv], { stdout: 'ignore', stderr: 'pipe' })
  const [code, said] = await Promise.all([child.exited, new Response(child.stderr).text()])
  return code === 0 ? '' : said.trim() || `exit code ${code}`
}

function must(complaint: string): void {
  if (complaint !== '') throw new Error(complaint)
}
