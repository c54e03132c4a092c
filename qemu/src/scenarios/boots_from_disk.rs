//! Given the shipped disk, UEFI firmware without boot entries and a commissioning disc; when the machine is switched on,
//! and again without the disc; then the firmware finds the box by itself, and it delivers.

use super::{Depth, Outcome, small_lab};
use crate::Inputs;
use crate::box_machine::Start;
use crate::limits::{BOX_BOOTS_FROM_DISK, DELIVERY};
use crate::nbd::Loss;
use crate::rig::{LabError, Setting};

pub fn story(inputs: &Inputs, _: Depth) -> Result<Outcome, LabError> {
    let setting = Setting {
        start: Start::Firmware,
        ..Setting::default()
    };
    let mut lab = small_lab(inputs, "boots-from-disk", &setting)?;
    lab.collector.power_on().map_err(LabError::Box)?;
    lab.wait_for(BOX_BOOTS_FROM_DISK, "boot")?;
    lab.wait_for(DELIVERY, "delivered")?;
    lab.wait_until_restored()?;

    lab.collector.cut_mains(Loss::All).map_err(LabError::Box)?;
    lab.collector.take_disc_out();
    lab.collector.power_on().map_err(LabError::Box)?;
    lab.wait_for(BOX_BOOTS_FROM_DISK, "boot")?;
    lab.tunnel_comes_up()?;
    lab.wait_until_restored()?;
    Ok(Outcome::Passed)
}
