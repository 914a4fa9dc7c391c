// A browser's WebSocket where Node has none.
import { WebSocket } from 'ws';

globalThis.WebSocket ??= WebSocket;
