/** An adapter for socket.io: `new Server({ adapter: createAdapter() })`. */
export function createAdapter (options?: { key?: string, heartbeatInterval?: number, heartbeatTimeout?: number }): any
