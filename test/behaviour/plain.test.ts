import { behaviour, hostBehaviour } from './behaviour.js';

behaviour('http');
behaviour('h2c');
hostBehaviour('h2c-compat');
