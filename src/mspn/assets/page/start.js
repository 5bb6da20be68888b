import "./appearance.js";
import { startPage } from "./page.js";
import { Service } from "./service.js";

startPage(new Service());
